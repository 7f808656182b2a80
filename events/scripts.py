"""The Lua scripts that Redis runs, each whole or not at all. Does no I/O.

Every script has two keys: a job's stream, and its state, a hash that is gone when the stream is.
The state has, for each `<producer id>:<epoch>` and for `outbox`, what it appended last
(`<sequence> <id>`, or `<sequence> -<ms>` for a call that was given up then), and:

- `limit`: at how many fields those are forgotten whose producers have been silent for an hour.
- `epoch`: the latest attempt of the job that anybody spoke of; older ones are refused.
- `trimmed`: the id up to which entries were removed because they are in the archive.
- `raised`: up to where there may be entries that came after the archive's position by time, but
  before it by id: Redis had lost the stream, and its clock had gone back.
- `expiring`: set while stream and state have a time to live.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest by which Redis knows it."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def call(self, keys: tuple[str, str], arguments: Iterable[str | bytes | int]) -> Command:
        """Run the script that Redis has; it answers NOSCRIPT if it has it not."""
        return ("EVALSHA", self.sha, 2, *keys, *arguments)


STALE_EPOCH: Final = "STALEEPOCH"

_HEAD: Final = """\
local call, match, sub = redis.call, string.match, string.sub
local stream, state = KEYS[1], KEYS[2]
"""

# Ids are compared as text: Lua's numbers have 53 bits, the halves of an id 64.
_IDS: Final = """\
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

# What the state says was appended may be gone, if somebody deleted the stream alone; then the
# state is not believed. What was trimmed is in the archive, and counts as there.
_HELD: Final = """\
local function held(id, trimmed)
    if #call('XRANGE', stream, id, id) > 0 then return true end
    return trimmed and not less(trimmed, id)
end
"""

# One of the two keys may be lost alone. Of the state, what the latest entries of the stream say of
# their producers stands in for it.
_RECOVER: Final = """\
local function recover()
    if call('EXISTS', state) == 1 or call('EXISTS', stream) == 0 then return false end
    local before, fence = '+', 0
    for _ = 1, 100 do
        local entries = call('XREVRANGE', stream, before, '-', 'COUNT', 100)
        for _, entry in ipairs(entries) do
            local fields = entry[2]
            for i = 1, #fields, 2 do
                local who, epoch, past
                if fields[i] == 'producer' then
                    who, epoch, past = match(fields[i + 1], '^([%w_-]+):(%d+):(%d+)$')
                end
                if who then
                    local field = who == 'outbox' and who or who .. ':' .. epoch
                    call('HSETNX', state, field, past .. ' ' .. entry[1])
                    fence = math.max(fence, tonumber(epoch))
                end
            end
        end
        if #entries < 100 then break end
        before = '(' .. entries[100][1]
    end
    if fence > 0 then call('HSET', state, 'epoch', string.format('%d', fence)) end
    call('PERSIST', stream)
    return true
end
"""

# A batch has ids without a gap: within a script time stands still, and nobody comes between.
_FIRST: Final = """local function first_of(last, count)
    local ms, number = match(last, '^(%d+)-(%d+)$')
    return ms .. '-' .. string.format('%d', tonumber(number) - count + 1)
end
"""

# Who has been silent for an hour repeats nothing any more.
_FORGET: Final = """local function forget()
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
_UNLEARN: Final = """local function unlearn(upto)
    local all, trimmed = call('HGETALL', state), call('HGET', state, 'trimmed')
    for i = 1, #all, 2 do
        local last = match(all[i + 1], '^%d+ (%d+%-%d+)$')
        if last and not less(upto, last) and not held(last, trimmed) then
            call('HDEL', state, all[i])
        end
    end
end
"""

# `floor` is an id that all new ones have to be above: the caller knows of it, and Redis may have
# lost it. That matters only when its clock is not past it.
_RAISE: Final = """\
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

_KEPT: Final = """\
local function keep(expiring)
    if not expiring then return end
    call('PERSIST', stream)
    call('PERSIST', state)
    call('HDEL', state, 'expiring')
end
"""

# ARGV: producer, epoch, the sequence of the first event, floor; then runs of events alike in
# timestamp and type, as most batches are: how many, the timestamp, the type, and the data of each;
# half of what a batch costs is the number of arguments. Answers the first and the last id. A
# producer has one call of an epoch under way at a time, so what may come again is its last call.
APPEND: Final = Script(
    _HEAD
    + """\
local function rarely()
"""
    + _IDS
    + _HELD
    + _RECOVER
    + _FIRST
    + _FORGET
    + _RAISE
    + _KEPT
    + """\
    local function again(last)
        if sub(last, 1, 1) == '-' then
            return redis.error_reply('GIVENUP the call was given up')
        end
        if not held(last, call('HGET', state, 'trimmed')) then return end
        local count, start = 0, 5
        while start < #ARGV do
            count, start = count + ARGV[start], start + 3 + ARGV[start]
        end
        return {first_of(last, count), last}
    end
    return again, recover, raise, keep, forget
end
local epoch, sequence, floor = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local field = ARGV[1] .. ':' .. epoch
local known = call('HMGET', state, field, 'epoch', 'expiring')
if not known[1] then
    local _, recover = rarely()
    if recover() then known = call('HMGET', state, field, 'epoch', 'expiring') end
end
if known[1] and sequence <= tonumber(match(known[1], '^%d+')) then
    local answer = rarely()(match(known[1], '%S+$'))
    if answer then return answer end
end
local fence = known[2] or '0'
if epoch ~= fence and epoch ~= '0' and tonumber(epoch) < tonumber(fence) then
    return redis.error_reply('STALEEPOCH the job is at attempt ' .. fence .. ', not at ' .. epoch)
end
-- What this producer appended last is the floor, unless Redis has lost it, or others append, too.
if floor ~= '' and sub(known[1] or '', -#floor) ~= floor then
    local _, _, raise = rarely()
    raise(floor)
end
local first, last
local start, stop, mark = 5, 0, field .. ':'
while start < #ARGV do
    local timestamp, event_type = ARGV[start + 1], ARGV[start + 2]
    stop = start + 2 + ARGV[start]
    for i = start + 3, stop do
        last = call('XADD', stream, '*', 'data', ARGV[i], 'timestamp', timestamp,
            'event_type', event_type, 'producer', mark .. sequence)
        first = first or last
        sequence = sequence + 1
    end
    start = stop + 1
end
call('HSET', state, field, (sequence - 1) .. ' ' .. last)
if epoch ~= '0' and epoch ~= fence then call('HSET', state, 'epoch', epoch) end
if known[3] or not known[1] then
    local _, _, _, keep, forget = rarely()
    keep(known[3])
    forget()
end
return {first, last}
"""
)

# ARGV: producer, epoch, the sequence of the last event of a call that was given up unanswered, how
# many events it has. Answers as APPEND did if the call came through; if not, sees to it that it is
# refused should it come yet.
RESOLVE: Final = Script(
    _HEAD
    + _IDS
    + _HELD
    + _RECOVER
    + _FIRST
    + _FORGET
    + """\
local field = ARGV[1] .. ':' .. ARGV[2]
recover()
local known = call('HMGET', state, field, 'trimmed')
if known[1] then
    local past, last = match(known[1], '^(%d+) (%S+)$')
    if tonumber(past) >= tonumber(ARGV[3]) and sub(last, 1, 1) ~= '-' and held(last, known[2]) then
        return {first_of(last, ARGV[4]), last}
    end
end
call('HSET', state, field, ARGV[3] .. ' -' .. call('TIME')[1] .. '000')
if not known[1] then forget() end
if call('EXISTS', stream) == 0 then
    call('HSET', state, 'expiring', 1)
    call('PEXPIRE', state, 3600000)
end
return false
"""
)

_OUTBOX: Final = """\
local function appended()
    local known = call('HMGET', state, 'outbox', 'trimmed')
    if not known[1] and recover() then known = call('HMGET', state, 'outbox', 'trimmed') end
    if not known[1] then return '' end
    local past, last = match(known[1], '^(%d+) (%S+)$')
    return held(last, known[2]) and past or ''
end
"""

# Which number of the outbox was appended last; empty if none was, as far as Redis knows.
OUTBOX_STATE: Final = Script(_HEAD + _IDS + _HELD + _RECOVER + _OUTBOX + "return appended()\n")

# ARGV: what OUTBOX_STATE said when the caller looked, the number of the first event, floor; then
# four for each event: epoch, timestamp, type, data. Appends nothing if somebody else has appended,
# or Redis has lost something, since the caller looked. Answers the number appended last and its id.
OUTBOX_APPEND: Final = Script(
    _HEAD
    + _IDS
    + _HELD
    + _RAISE
    + _KEPT
    + _OUTBOX
    + """\
local past = appended()
if past ~= ARGV[1] then return {past, ''} end
raise(ARGV[3])
local known = call('HMGET', state, 'epoch', 'expiring')
local sequence, fence, first, last = tonumber(ARGV[2]), nil, nil, nil
for i = 4, #ARGV, 4 do
    last = call('XADD', stream, '*', 'data', ARGV[i + 3], 'timestamp', ARGV[i + 1],
        'event_type', ARGV[i + 2],
        'producer', 'outbox:' .. ARGV[i] .. ':' .. string.format('%d', sequence))
    first = first or last
    if ARGV[i] ~= '0' then fence = ARGV[i] end
    sequence = sequence + 1
end
past = string.format('%d', sequence - 1)
call('HSET', state, 'outbox', past .. ' ' .. first .. ' ' .. last)
-- These come in the order of the job's life; its attempts count up, or it was made anew.
if fence then call('HSET', state, 'epoch', fence) end
keep(known[2])
return {past, last}
"""
)

# ARGV: an id up to which everything is in the archive. Removes whole nodes of the stream only,
# which costs little. Refused while the stream may have entries that are not archived below it.
TRIM: Final = Script(
    _HEAD
    + _IDS
    + """\
if call('EXISTS', stream) == 0 or call('HEXISTS', state, 'raised') == 1
    or less(generated(), ARGV[1]) then return 0 end
local removed = call('XTRIM', stream, 'MINID', '~', ARGV[1])
if removed > 0 then call('HSET', state, 'trimmed', ARGV[1]) end
return removed
"""
)

# ARGV: the position of the archive, milliseconds. Sets the time to live of a stream that is
# archived to its end.
EXPIRE: Final = Script(
    _HEAD
    + _IDS
    + """\
if call('EXISTS', stream) == 0 or generated() ~= ARGV[1] then return 0 end
if call('HSETNX', state, 'expiring', 1) == 0 then return 0 end
call('PEXPIRE', state, ARGV[2])
return call('PEXPIRE', stream, ARGV[2])
"""
)

# ARGV: the position of the archive, what `raised` and the last id of the stream were when the
# caller looked, the ids of entries up to the position that are not in the archive. Appends these
# anew, above it, and removes what is below; not if others came below it meanwhile.
RESEQUENCE: Final = Script(
    _HEAD
    + _IDS
    + """\
if call('EXISTS', stream) == 0 then return 0 end
local last = generated()
if less(last, ARGV[1]) then
    if last ~= ARGV[3] then return -1 end
    call('XSETID', stream, ARGV[1])
end
local moved = 0
for i = 4, #ARGV do
    local entry = call('XRANGE', stream, ARGV[i], ARGV[i])[1]
    if entry then
        call('XADD', stream, '*', unpack(entry[2]))
        call('XDEL', stream, ARGV[i])
        moved = moved + 1
    end
end
-- The archive has these; of a stream that was set back, not all that follows them is here.
call('XTRIM', stream, 'MINID', ARGV[1])
call('HSET', state, 'trimmed', ARGV[1])
if call('HGET', state, 'raised') == ARGV[2] then call('HDEL', state, 'raised') end
return moved
"""
)

_SOURCES: Final = {
    script.sha: script.source
    for script in (APPEND, RESOLVE, OUTBOX_STATE, OUTBOX_APPEND, TRIM, EXPIRE, RESEQUENCE)
}


def with_source(command: Command) -> Command:
    """The call of a script with its source, for a Redis that does not have it."""
    return ("EVAL", _SOURCES[str(command[1])], *command[2:])
