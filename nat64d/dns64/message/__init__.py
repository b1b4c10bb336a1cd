"""DNS messages: `wire` reads and writes octets, `reply` is an answer as it is kept, `endings` names how queries end."""
