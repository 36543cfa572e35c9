"""Special functions of the families: accurate where differences of log-gammas cancel."""
