#!/bin/sh
# PostgreSQL's first start: the control plane's role and database, which may do nothing else; and the superuser loses
# the password that the image asks for, so that it comes in by the socket in its own container alone.
set -eu
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username=postgres <<'END'
\set password `cat /run/secrets/database_password`
CREATE ROLE control_plane LOGIN PASSWORD :'password';
CREATE DATABASE control_plane OWNER control_plane;
REVOKE CONNECT, TEMPORARY ON DATABASE control_plane, postgres, template1 FROM PUBLIC;
ALTER ROLE postgres PASSWORD NULL;
END
