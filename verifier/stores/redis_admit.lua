-- One message, at once: may this process judge it, is its nonce new, and the move that an ordinary sync makes.
--
-- Ordinary is a sync of the session and from the machine of the last accepted one, with a higher number and a ticket
-- that is good. All else is decided by the caller, from the state that it is given, and set by redis_move.lua.
--
-- KEYS  1 the node's state   2 to 4 nonces of the period before, of this one, of the next   5 those kept longer
-- ARGV  1 reigns that may judge this message, between blanks   2 the nonce   3 seconds for which it is to be kept
--       4 "longer" when that is longer than a period
--       of a sync: 5 "move" or "look"   6 session   7 number   8 ticket   9 fingerprint digest   10 signed at
--       11 the new ticket's random part   12 the server's time   13 the sender's address
-- Gives "reign", its id, eviction policy   or "spent"   or "new"   or "moved" or "decide", this reign, the state before

local reign = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not reign or not string.find(ARGV[1], ' ' .. reign .. ' ', 1, true) then
  local memory = redis.call('INFO', 'memory')
  local bounded = string.match(memory, 'maxmemory:(%d+)') ~= '0'
  return {'reign', reign or '', bounded and string.match(memory, 'maxmemory_policy:([%w-]+)') or 'noeviction'}
end

for key = 2, 5 do
  if redis.call('HEXISTS', KEYS[key], ARGV[2]) == 1 then
    return {'spent'}
  end
end
local kept_in = ARGV[4] == 'longer' and KEYS[5] or KEYS[3]
redis.call('HSET', kept_in, ARGV[2], '')
if redis.call('TTL', kept_in) < tonumber(ARGV[3]) then
  redis.call('EXPIRE', kept_in, ARGV[3])
end
if not ARGV[5] then
  return {'new'}
end

local state = redis.call('HMGET', KEYS[1],
  'version', 'reign', 'state', 'issued', 'shown', 'session', 'request', 'digest', 'created', 'at', 'peer', 'plain')
if not state[1] then
  return {'new'}
end
local issued, shown, plain = state[4], state[5], state[12]
local ordinary = ARGV[5] == 'move' and plain == '1' and ARGV[6] == state[6] and ARGV[9] == state[8]
  and tonumber(ARGV[7]) > tonumber(state[7]) and (ARGV[8] == issued or ARGV[8] == shown)
if ordinary then
  local counter = tonumber(string.match(issued, '^(%d+)%.')) + 1
  redis.call('HSET', KEYS[1], 'issued', string.format('%.0f.%s', counter, ARGV[11]), 'shown', ARGV[8],
    'request', ARGV[7], 'created', ARGV[10], 'at', ARGV[12], 'peer', ARGV[13], 'reign', reign)
  redis.call('HINCRBY', KEYS[1], 'version', 1)
end
return {ordinary and 'moved' or 'decide', reign, unpack(state)}
