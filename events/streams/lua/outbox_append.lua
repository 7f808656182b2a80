-- Appends events of the outbox if its last event is still the one that the caller read.
-- ARGV: the sequence that outbox_state returned, the sequence of the first event, the archive
-- checkpoint, whether the last event is known to be archived; then epoch, timestamp, type and data
-- of each event. Returns the sequence and the id of the last event; an empty id if nothing was
-- appended, because another caller did, or Redis lost data.
-- If Redis has no last event, entries with the same producer and data are not repeated. Entries up
-- to the checkpoint that are not archived are never read: Redis was restored to an older state.
local h, expiring = helpers(), call('HGET', state, 'expiring')
if expiring == 'deleted' then return redis.error_reply('LOGDELETED the job was deleted') end
local past, id = h.outbox_end()
local checkpoint = ARGV[3] ~= '' and ARGV[3] or '0-0'
if past ~= ARGV[1] or (ARGV[4] == '0' and past ~= '' and not h.less(checkpoint, id)) then
    return {past, ''}
end
h.recover()
if expiring then h.persist() end
h.raise_floor(ARGV[3])
local sequence, fence, last, found = tonumber(ARGV[2]), nil, nil, {}
if past == '' then
    h.each_entry(function(id, producer, data)
        if sub(producer, 1, 7) == 'outbox:' and h.less(checkpoint, id) then
            found[producer .. ' ' .. (data or '')] = id
        end
    end)
end
for i = 5, #ARGV, 4 do
    local producer = 'outbox:' .. ARGV[i] .. ':' .. string.format('%d', sequence)
    last = found[producer .. ' ' .. ARGV[i + 3]]
    if not last then
        last = call('XADD', stream, '*', 'data', ARGV[i + 3], 'timestamp', ARGV[i + 1],
            'event_type', ARGV[i + 2], 'producer', producer)
        if mirror then mirror(last, ARGV[i + 3], ARGV[i + 1], ARGV[i + 2]) end
    end
    if ARGV[i] ~= '0' then fence = ARGV[i] end
    sequence = sequence + 1
end
past = string.format('%d', sequence - 1)
call('HSET', state, 'outbox', past .. ' ' .. last)
-- These events come in the order of the job's attempts, which only a new job resets.
if fence then call('HSET', state, 'epoch', fence) end
return {past, last}
