"""What the scripts of `events.streams.scripts` are made of: functions in Lua. Does no I/O."""

from typing import Final

HEAD: Final = """\
local call, match, sub = redis.call, string.match, string.sub
local stream, state = KEYS[1], KEYS[2]
"""

# Ids are compared as text: Lua's numbers have 53 bits, the halves of an id 64.
IDS: Final = """\
local function less(a, b)
    local a1, a2 = match(a, '^(%d+)-(%d+)$')
    local b1, b2 = match(b, '^(%d+)-(%d+)$')
    if a1 ~= b1 then return #a1 < #b1 or (#a1 == #b1 and a1 < b1) end
    return #a2 < #b2 or (#a2 == #b2 and a2 < b2)
end
local function generated()
    local info = call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then return info[i + 1] end
    end
end
"""

# What the state says was appended may be gone, if somebody deleted the stream alone, and another's
# entry may have its id; then the state is not believed. What was trimmed is in the archive, and
# counts as there.
HELD: Final = """\
local function held(who, past, id, trimmed)
    local entry = call('XRANGE', stream, id, id)[1]
    if not entry then return trimmed and not less(trimmed, id) end
    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'producer' then
            local producer, sequence = match(entry[2][i + 1], '^(.*):(%d+)$')
            return sequence == past and sub(producer, 1, #who) == who
        end
    end
end
"""

# The latest entries of the stream that have a producer, from the last: the state may be lost alone,
# and what they say stands in for it.
LATEST: Final = """\
local function latest(visit)
    local before = '+'
    for _ = 1, 20 do
        local entries = call('XREVRANGE', stream, before, '-', 'COUNT', 100)
        for _, entry in ipairs(entries) do
            local named = {}
            for i = 1, #entry[2], 2 do named[entry[2][i]] = entry[2][i + 1] end
            if named.producer then visit(entry[1], named.producer, named.data) end
        end
        if #entries < 100 then return end
        before = '(' .. entries[100][1]
    end
end
"""

RECOVER: Final = (
    LATEST
    + """\
local function recover()
    if call('EXISTS', state) == 1 or call('EXISTS', stream) == 0 then return false end
    local fence
    latest(function(id, producer)
        local field, epoch, past = match(producer, '^([%w_-]+:(%d+)):(%d+)$')
        if not field then return end
        if sub(field, 1, 7) ~= 'outbox:' then call('HSETNX', state, field, past .. ' ' .. id) end
        if not fence and epoch ~= '0' then fence = epoch end
    end)
    if fence then call('HSET', state, 'epoch', fence) end
    call('PERSIST', stream)
    return true
end
"""
)

# A batch has ids without a gap, of the millisecond of its first.
FIRST: Final = """local function first_of(last, count)
    local ms, number = match(last, '^(%d+)-(%d+)$')
    return ms .. '-' .. string.format('%d', tonumber(number) - count + 1)
end
"""

# Who has been silent for an hour repeats nothing any more.
FORGET: Final = """local function forget()
    local count = call('HLEN', state)
    if count <= tonumber(call('HGET', state, 'limit') or 256) then return end
    local now, all = call('TIME'), call('HGETALL', state)
    for i = 1, #all, 2 do
        local ms = match(all[i + 1], '^%d+ %-?(%d+)')
        if ms and all[i] ~= 'outbox' and tonumber(ms) < (now[1] - 3600) * 1000 then
            count = count - call('HDEL', state, all[i])
        end
    end
    call('HSET', state, 'limit', math.max(256, 2 * count))
end
"""

# What was appended, but is neither in the stream nor in the archive, was lost: it may come again.
# To be done before the archive is said to have everything up to an id.
UNLEARN: Final = """local function unlearn(upto)
    local all, trimmed = call('HGETALL', state), call('HGET', state, 'trimmed')
    for i = 1, #all, 2 do
        local past, last = match(all[i + 1], '^(%d+) (%d+%-%d+)$')
        if last and not less(upto, last) and not held(all[i], past, last, trimmed) then
            call('HDEL', state, all[i])
        end
    end
end
"""

# `floor` is an id that all new ones have to be above: the caller knows of it, and Redis may have
# lost it. That matters only when its clock is not past it.
RAISE: Final = """\
local function raise(floor)
    if floor == '' then return end
    local now = call('TIME')
    local ahead = tonumber(match(floor, '^%d+')) - now[1] * 1000 - math.floor(now[2] / 1000)
    if ahead < 0 then return end
    if call('EXISTS', stream) == 0 then
        call('XADD', stream, floor, 'raised', '')
        call('XDEL', stream, floor)
        return
    end
    local last = generated()
    if ahead > 0 and less(last, floor) then
        call('XSETID', stream, floor)
        call('HSET', state, 'raised', last)
    end
end
"""

KEPT: Final = """\
local function keep(expiring)
    if not expiring then return end
    call('PERSIST', stream)
    call('PERSIST', state)
    call('HDEL', state, 'expiring')
end
"""

OUTBOX: Final = """\
local function appended()
    local known = call('HMGET', state, 'outbox', 'trimmed')
    if not known[1] then return '', '' end
    local past, last = match(known[1], '^(%d+) (%S+)$')
    if held('outbox:', past, last, known[2]) then return past, last end
    return '', ''
end
"""
