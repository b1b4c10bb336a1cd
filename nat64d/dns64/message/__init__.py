"""DNS messages: `wire` reads and writes octets, `layouts` says where names are in them, `reply` is an answer as it is
kept, `endings` names how queries end."""
