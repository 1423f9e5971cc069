"""The wire lab: network namespaces, NAT routers, real phones and scripted ones, for the tests beside it."""
