-- Sets a node's state where it is still the one that was read. Gives 1, or 0 when another request came between.
--
-- KEYS  1 the node's state
-- ARGV  1 the version that was read, or "any"   2 and on: fields and their values

if ARGV[1] ~= 'any' and redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('HSET', KEYS[1], 'reign', string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'))
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
