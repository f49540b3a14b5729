-- Replaces a lease by its result, now that it is known which rows of the joined
-- tables the result depends on: their conjunctions take the place of the
-- provisional ones, in one step with the result. The lease must still be there,
-- and nothing may have been written to the joined tables since it was taken, or
-- their rows may not be those that the result shows.
--
-- A lease is replaced once, so that its id makes stamps that never return.
--
-- KEYS  1 entry, 2..1+p provisional conjunctions, 2+p.. those of the joined rows,
--       the last s sets as in save
-- ARGV  1 lease id   2 sum   3 payload   4 ttl in ms
--       5 for how many ms the conjunctions must live
--       6 mode: "sets" | "stamps"   7 p   8 s
--       9 the entry's name inside sets   10 what precedes that name in its key
--       11 what precedes a conjunction's name
-- Returns 1 stored | 0 the lease is lost
-- Complexity O(payload + conjunctions).
--
-- A conjunction may be both provisional and one of the joined rows': the result
-- depends on the whole table then.
-- include held
-- include witness
-- include born
-- include member
-- include enter
-- include lifetime
-- include trim
local witness = held(KEYS[1], ARGV[1])
if not witness then return 0 end
local sets, first, last, name = ARGV[6] == 'sets', 2 + tonumber(ARGV[7]), #KEYS - tonumber(ARGV[8]), ARGV[9]

if sets then
  -- Only the look-up that took this lease can have made it a member.
  for i = 2, first - 1 do
    if not member(KEYS[i], name, 'L' .. ARGV[1]) then return 0 end
  end
  witness = witness .. '|' .. ARGV[7]
else
  -- The witness ends with the provisional stamps.
  local provisional = {''}
  if not stamps(provisional, KEYS, 2, first - 1) then return 0 end
  provisional = digest(table.concat(provisional, '|'))
  if string.sub(witness, -#provisional) ~= provisional then return 0 end
  witness = string.sub(witness, 1, -#provisional - 1)
  local joined = {''}
  for i = first, last, 1000 do
    local upto = math.min(i + 999, last)
    local page = redis.call('MGET', unpack(KEYS, i, upto))
    for j = i, upto do
      local stamp = page[j - i + 1]
      if not stamp then
        -- It tells no time: others may save under it what they have leased before.
        stamp = string.sub(ARGV[1], 1, 22) .. 's' .. string.sub(ARGV[1], 23) .. '.' .. j
        redis.call('SET', KEYS[j], stamp)
      elseif born(stamp, 23) > born(ARGV[1], 23) then
        -- What it vouches for was leased after it was made, and this result wasn't.
        return 0
      end
      joined[#joined + 1] = stamp
    end
  end
  witness = witness .. '|' .. ARGV[7] .. digest(table.concat(joined, '|'))
end

local names = {}
for i = first, last do names[#names + 1] = string.sub(KEYS[i], #ARGV[11] + 1) end
redis.call('SET', KEYS[1], 'J' .. string.sub(ARGV[1], 1, 22) .. ARGV[2] .. #witness .. ':' .. witness ..
  #names .. ':' .. table.concat(names) .. ARGV[3], 'PX', ARGV[4])

for i = 2, sets and first - 1 or 0 do redis.call('HDEL', KEYS[i], name) end
for i = first, last do
  if sets then enter(KEYS[i], name, ARGV[1], ARGV[10]) end
  keep(KEYS[i], tonumber(ARGV[5]))
end
for i = last + 1, #KEYS do trim(KEYS[i], ARGV[5]) end
return 1
