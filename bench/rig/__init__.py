"""What every part of the bench uses: servers, loads, figures."""
