-- Shared part of every script. KEYS: a job's stream and its state, a hash with these fields:
--   <producer id>:<epoch>   the last append of a producer: `<sequence> <id>` of its last event
--   outbox                  the same for the outbox
--   16 characters           an idempotency key: `<number of events> <id> <content>`
--   epoch     the latest attempt of the job; producers of earlier ones are fenced
--   trimmed   the id up to which entries may be missing because they are archived
--   rewound   the last id before the clock went back: entries up to it may be not archived
--             although the archive checkpoint is above them
--   missing   ids of events that producers published and that are not in the stream: they were
--             trimmed or lost
--   limit     the number of fields above which silent producers are removed
--   expiring  set while stream and state have a time to live; `deleted` in a tombstone, the state
--             of a deleted log: appends are refused
local call, match, sub = redis.call, string.match, string.sub
local mirror -- a function if mirror.lua runs
local stream, state = KEYS[1], KEYS[2]
-- Publishers retry an append for an hour. The second hour is for clocks that differ.
local STATE_MS = 7200000

-- Returns the functions that the usual append does not need: creating them would slow it down.
local function helpers()
    local h = {}

    -- Ids are compared as text: Lua numbers have 53 bits, the parts of an id have 64.
    function h.less(a, b)
        local a1, a2 = match(a, '^(%d+)-(%d+)$')
        local b1, b2 = match(b, '^(%d+)-(%d+)$')
        if a1 ~= b1 then return #a1 < #b1 or (#a1 == #b1 and a1 < b1) end
        return #a2 < #b2 or (#a2 == #b2 and a2 < b2)
    end

    function h.last_generated_id()
        local info = call('XINFO', 'STREAM', stream)
        for i = 1, #info, 2 do
            if info[i] == 'last-generated-id' then return info[i + 1] end
        end
    end

    -- The id of the first event of a batch: the events have consecutive ids of one millisecond.
    function h.first_of(last, count)
        local ms, number = match(last, '^(%d+)-(%d+)$')
        return ms .. '-' .. string.format('%d', tonumber(number) - count + 1)
    end

    -- The number of events in the arguments of an append.
    function h.count()
        local count, start = 0, 5
        while start < #ARGV do
            count, start = count + ARGV[start], start + 3 + ARGV[start]
        end
        return count
    end

    -- Whether the stream or the archive has the event that a field of the state names. If the
    -- stream was deleted alone, it has no such entry, or one of another producer.
    function h.has(field, sequence, id)
        local entry = call('XRANGE', stream, id, id)[1]
        if not entry then
            local trimmed = call('HGET', state, 'trimmed')
            return trimmed and not h.less(trimmed, id)
        end
        local prefix = (match(field, ':') or field == 'outbox') and field .. ':' or field
        for i = 1, #entry[2], 2 do
            if entry[2][i] == 'producer' then
                local producer = entry[2][i + 1]
                return match(producer, '%d+$') == sequence and sub(producer, 1, #prefix) == prefix
            end
        end
    end

    -- Calls `visit` for the latest entries that have a producer, newest first.
    function h.each_entry(visit)
        local before = '+'
        for _ = 1, 20 do
            local entries = call('XREVRANGE', stream, before, '-', 'COUNT', 100)
            for _, entry in ipairs(entries) do
                local fields = {}
                for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
                if fields.producer then visit(entry[1], fields.producer, fields.data) end
            end
            if #entries < 100 then return end
            before = '(' .. entries[100][1]
        end
    end

    -- Restores a state that was evicted alone from the entries of the stream.
    function h.recover()
        if call('EXISTS', state) == 1 or call('EXISTS', stream) == 0 then return false end
        local fence
        h.each_entry(function(id, producer)
            local name, epoch, sequence = match(producer, '^([%w_-]+):(%d+):(%d+)$')
            if not name then return end
            if #name == 32 then
                local last = sequence .. ' ' .. id .. ' ' .. sub(name, 17)
                call('HSETNX', state, sub(name, 1, 16), last)
            elseif name ~= 'outbox' then
                call('HSETNX', state, name .. ':' .. epoch, sequence .. ' ' .. id)
            end
            if not fence and epoch ~= '0' then fence = epoch end
        end)
        if fence then call('HSET', state, 'epoch', fence) end
        call('PERSIST', stream)
        return true
    end

    -- Removes producers that have been silent for so long that they no longer retry.
    function h.forget()
        local count = call('HLEN', state)
        if count <= tonumber(call('HGET', state, 'limit') or 256) then return end
        local now, all = call('TIME'), call('HGETALL', state)
        for i = 1, #all, 2 do
            local ms = match(all[i + 1], '^%d+ (%d+)')
            if ms and all[i] ~= 'outbox' and tonumber(ms) < now[1] * 1000 - STATE_MS then
                count = count - call('HDEL', state, all[i])
            end
        end
        call('HSET', state, 'limit', math.max(256, 2 * count))
    end

    -- Removes producers whose last event was lost; it may be appended again. Called before
    -- `trimmed` is advanced, which declares that the archive has everything up to an id.
    function h.forget_lost(upto)
        local all = call('HGETALL', state)
        for i = 1, #all, 2 do
            local sequence, last = match(all[i + 1], '^(%d+) (%d+%-%d+)')
            if last and not h.less(upto, last) and not h.has(all[i], sequence, last) then
                call('HDEL', state, all[i])
            end
        end
    end

    -- Makes all new ids greater than `floor`. That takes no command unless the clock is behind it.
    function h.raise_floor(floor)
        if floor == '' then return end
        local now = call('TIME')
        local ahead = tonumber(match(floor, '^%d+')) - now[1] * 1000 - math.floor(now[2] / 1000)
        if ahead < 0 then return end
        if call('EXISTS', stream) == 0 then
            call('XADD', stream, floor, 'raised', '')
            call('XTRIM', stream, 'MAXLEN', 0) -- XDEL would mark an event as deleted
            return
        end
        local last = h.last_generated_id()
        if ahead > 0 and h.less(last, floor) then
            call('XSETID', stream, floor)
            call('HSET', state, 'rewound', last)
        end
    end

    -- Cancels the time to live before an append. New ids are greater than those that expired.
    function h.persist()
        call('PERSIST', stream)
        call('PERSIST', state)
        call('HDEL', state, 'expiring')
        h.raise_floor(call('HGET', state, 'trimmed') or '')
    end

    -- The sequence and the id of the last appended event of the outbox; both empty if it was lost.
    function h.outbox_end()
        local sequence, id = match(call('HGET', state, 'outbox') or '', '^(%d+) (%S+)$')
        if sequence and h.has('outbox', sequence, id) then return sequence, id end
        return '', ''
    end

    return h
end
