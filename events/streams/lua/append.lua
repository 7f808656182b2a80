-- Appends events of a producer, all or none; an append that is sent again returns the same ids.
-- ARGV: producer id, epoch, sequence of the first event, floor (the field of the state that the
-- process acknowledged last for this job, or empty); then runs of events with equal timestamp and
-- type: number of events, timestamp, type, and the data of each. Half the cost of a batch is the
-- number of its arguments. Returns the first and the last id, or the only one.
-- A producer has one append of an epoch in flight, so only its last one can be sent again.
-- The id of a producer that stands for an idempotency key has 16 characters for the key and 16 for
-- the content. Its field is that of the key, in all epochs.
local epoch, sequence, floor = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local field, content = ARGV[1] .. ':' .. epoch, ''
if #ARGV[1] == 32 then field, content = sub(ARGV[1], 1, 16), ' ' .. sub(ARGV[1], 17) end
local known = call('HMGET', state, field, 'epoch', 'expiring')
if not known[1] and helpers().recover() then
    known = call('HMGET', state, field, 'epoch', 'expiring')
end
-- Usually the producer made the last append of the process, and Redis has lost nothing.
local is_current = known[1] == floor
if not is_current and known[1] and sequence <= tonumber(match(known[1], '^%d+')) then
    local h, past, last, other = helpers(), match(known[1], '^(%d+) (%S+)(.*)$')
    if h.has(field, past, last) then
        if other ~= content then return redis.error_reply('KEYCONFLICT ' .. last) end
        local count = h.count()
        return count > 1 and {h.first_of(last, count), last} or last
    end
end
local fence = known[2] or '0'
if epoch ~= fence and epoch ~= '0' and tonumber(epoch) < tonumber(fence) then
    return redis.error_reply('STALEEPOCH the job is at attempt ' .. fence .. ', not at ' .. epoch)
end
if known[3] then
    if known[3] == 'deleted' then return redis.error_reply('LOGDELETED the job was deleted') end
    helpers().persist()
end
if not is_current and floor ~= '' then
    local acknowledged = match(floor, '%S+$')
    if #call('XRANGE', stream, acknowledged, acknowledged) == 0 then
        local missing = call('HGET', state, 'missing') or ''
        if #missing < 1000 then call('HSET', state, 'missing', missing .. acknowledged .. ' ') end
    end
    helpers().raise_floor(acknowledged)
end
local first, last
-- Formatting a number takes as long as an XADD: it is done once for ten events.
local start, stop, mark, number, tens = 5, 0, ARGV[1] .. ':' .. epoch .. ':', ARGV[3], nil
local id = '*'
while start < #ARGV do
    local timestamp, event_type = ARGV[start + 1], ARGV[start + 2]
    stop = start + 2 + ARGV[start]
    for i = start + 3, stop do
        if first then
            if not tens then id = match(first, '^%d+') .. '-*' end
            local digit = sequence % 10
            if digit == 0 or not tens then
                tens = sequence < 10 and '' or string.format('%d', (sequence - digit) / 10)
            end
            number = tens .. sub('0123456789', digit + 1, digit + 1)
        end
        last = call('XADD', stream, id, 'data', ARGV[i], 'timestamp', timestamp,
            'event_type', event_type, 'producer', mark .. number)
        if mirror then mirror(last, ARGV[i], timestamp, event_type) end
        first = first or last
        sequence = sequence + 1
    end
    start = stop + 1
end
call('HSET', state, field, number .. ' ' .. last .. content)
if epoch ~= '0' and epoch ~= fence then call('HSET', state, 'epoch', epoch) end
if not known[1] then helpers().forget() end
return first == last and last or {first, last}
