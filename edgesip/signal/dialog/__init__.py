"""Dialogs and the offer/answer state inside them."""
