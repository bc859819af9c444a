#!/bin/sh
# Redis with a password that stands in no argument and in no file but the secret's own: it is read from standard input.
# What is kept is replay state: on the disk each second, and never put out to make room.
set -eu
exec redis-server --dir /data --appendonly yes --appendfsync everysec --save '' \
  --maxmemory 128mb --maxmemory-policy noeviction --loglevel notice - <<END
requirepass "$(cat /run/secrets/redis_password)"
END
