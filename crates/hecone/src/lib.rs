//! HecOne 360: its login, endpoints, paging and quirks.
