"""The Lua scripts that Redis runs, each whole or not at all. Does no I/O.

Every script has two keys: a job's stream, and its state, a hash that expires when the stream does;
of a stream that was deleted, an hour after the archiver has missed it.
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

from events.streams import lua_parts

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
OUT_OF_ORDER: Final = "OUTOFORDER"

_RARELY: Final = (
    lua_parts.HEAD
    + """\
local function rarely()
"""
    + lua_parts.IDS
    + lua_parts.HELD
    + lua_parts.RECOVER
    + lua_parts.FIRST
    + lua_parts.FORGET
    + lua_parts.RAISE
    + lua_parts.KEPT
    + """\
    local function again(past, last)
        if sub(last, 1, 1) == '-' then
            return redis.error_reply('GIVENUP the call was given up')
        end
        local field = ARGV[1] .. ':' .. ARGV[2]
        if not held(field, past, last, call('HGET', state, 'trimmed')) then return end
        local count, start = 0, 5
        while start < #ARGV do
            count, start = count + ARGV[start], start + 3 + ARGV[start]
        end
        return count > 1 and {first_of(last, count), last} or last
    end
    local function is_whole(last, count)
        local number = match(last, '^%d+%-(%d+)$')
        if not number or tonumber(number) < count - 1 then return false end
        local who, trimmed = ARGV[1] .. ':' .. ARGV[2], call('HGET', state, 'trimmed')
        return held(who, ARGV[3], first_of(last, count), trimmed)
    end
    return again, recover, raise, keep, forget, is_whole
end
"""
)

_APPEND: Final = """\
local epoch, sequence, floor = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local field = ARGV[1] .. ':' .. epoch
local known = call('HMGET', state, field, 'epoch', 'expiring')
if not known[1] then
    local _, recover = rarely()
    if recover() then known = call('HMGET', state, field, 'epoch', 'expiring') end
end
-- Usually the caller was the last to append, and Redis has lost nothing: that is soon seen.
local as_left = known[1] == floor
if not as_left and known[1] and sequence <= tonumber(match(known[1], '^%d+')) then
    local answer = rarely()(match(known[1], '^(%d+) (%S+)$'))
    if answer then return answer end
end
local fence = known[2] or '0'
if epoch ~= fence and epoch ~= '0' and tonumber(epoch) < tonumber(fence) then
    return redis.error_reply('STALEEPOCH the job is at attempt ' .. fence .. ', not at ' .. epoch)
end
if not as_left and floor ~= '' then
    local _, _, raise = rarely()
    raise(match(floor, '%S+$'))
end
local first, last
-- Lua writes a number in the time that an XADD takes: once for ten events is enough.
local start, stop, mark, number, tens = 5, 0, field .. ':', ARGV[3], nil
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
        first = first or last
        sequence = sequence + 1
    end
    start = stop + 1
end
call('HSET', state, field, number .. ' ' .. last)
if epoch ~= '0' and epoch ~= fence then call('HSET', state, 'epoch', epoch) end
if known[3] or not known[1] then
    local _, _, _, keep, forget = rarely()
    keep(known[3])
    forget()
end
return first == last and last or {first, last}
"""

# ARGV: producer, epoch, the sequence of the first event, floor (what its process knows to have been
# appended last, `<sequence> <id>` as the state has it, or empty); then runs of events alike in
# timestamp and type, as most batches are: how many, the timestamp, the type, and the data of each;
# half of what a batch costs is the number of arguments. Answers the first and the last id. A
# producer has one call of an epoch under way at a time, so what may come again is its last call.
APPEND: Final = Script(_RARELY + _APPEND)

# As APPEND, for a producer that counts by itself: its call has to follow on the one before, or be
# that call again. Whoever Redis knows nothing of may begin with any number.
APPEND_IN_ORDER: Final = Script(
    _RARELY
    + """\
do
    local field = ARGV[1] .. ':' .. ARGV[2]
    local past = call('HGET', state, field)
    if not past then
        local _, recover = rarely()
        past = recover() and call('HGET', state, field)
    end
    if past then
        local count, start = 0, 5
        while start < #ARGV do
            count, start = count + ARGV[start], start + 3 + ARGV[start]
        end
        local expected, first = match(past, '^%d+') + 1, tonumber(ARGV[3])
        local _, _, _, _, _, is_whole = rarely()
        if first ~= expected
            and (first + count ~= expected or not is_whole(match(past, '%S+$'), count)) then
            return redis.error_reply('OUTOFORDER ' .. string.format('%d', expected))
        end
    end
end
"""
    + _APPEND
)

# ARGV: producer, epoch, the sequence of the last event of a call that was given up unanswered, how
# many events it has. Answers as APPEND did if the call came through; if not, sees to it that it is
# refused should it come yet.
RESOLVE: Final = Script(
    lua_parts.HEAD
    + lua_parts.IDS
    + lua_parts.HELD
    + lua_parts.RECOVER
    + lua_parts.FIRST
    + lua_parts.FORGET
    + """\
local field = ARGV[1] .. ':' .. ARGV[2]
recover()
local known = call('HMGET', state, field, 'trimmed')
if known[1] then
    local past, last = match(known[1], '^(%d+) (%S+)$')
    if tonumber(past) >= tonumber(ARGV[3]) and sub(last, 1, 1) ~= '-'
        and held(field, past, last, known[2]) then
        return ARGV[4] ~= '1' and {first_of(last, ARGV[4]), last} or last
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

# Which number of the outbox was appended last, and its id; both empty if none was, as far as Redis
# knows.
OUTBOX_STATE: Final = Script(
    lua_parts.HEAD + lua_parts.IDS + lua_parts.HELD + lua_parts.OUTBOX + "return {appended()}\n"
)

# ARGV: the number that OUTBOX_STATE said when the caller looked, the number of the first event, the
# position of the archive, whether what was appended last is known to be in the archive; then four
# for each event: epoch, timestamp, type, data. Appends nothing if somebody else has appended, or
# Redis has lost something, since the caller looked. Answers the number appended last and its id.
# If it is not known what was appended last, what is in the stream to the letter is not repeated.
# What is not archived, and not above the position, nobody reads: Redis was set back to it.
OUTBOX_APPEND: Final = Script(
    lua_parts.HEAD
    + lua_parts.IDS
    + lua_parts.HELD
    + lua_parts.RECOVER
    + lua_parts.RAISE
    + lua_parts.KEPT
    + lua_parts.OUTBOX
    + """\
local past, id = appended()
local floor = ARGV[3] ~= '' and ARGV[3] or '0-0'
if past ~= ARGV[1] or (ARGV[4] == '0' and past ~= '' and not less(floor, id)) then
    return {past, ''}
end
recover()
raise(ARGV[3])
local known = call('HMGET', state, 'epoch', 'expiring')
local sequence, fence, last, there = tonumber(ARGV[2]), nil, nil, {}
if past == '' then
    latest(function(id, producer, data)
        if sub(producer, 1, 7) == 'outbox:' and less(floor, id) then
            there[producer .. ' ' .. (data or '')] = id
        end
    end)
end
for i = 5, #ARGV, 4 do
    local producer = 'outbox:' .. ARGV[i] .. ':' .. string.format('%d', sequence)
    last = there[producer .. ' ' .. ARGV[i + 3]]
        or call('XADD', stream, '*', 'data', ARGV[i + 3], 'timestamp', ARGV[i + 1],
            'event_type', ARGV[i + 2], 'producer', producer)
    if ARGV[i] ~= '0' then fence = ARGV[i] end
    sequence = sequence + 1
end
past = string.format('%d', sequence - 1)
call('HSET', state, 'outbox', past .. ' ' .. last)
-- These come in the order of the job's life; its attempts count up, or it was made anew.
if fence then call('HSET', state, 'epoch', fence) end
keep(known[2])
return {past, last}
"""
)

# ARGV: the id of an entry up to which everything is in the archive. Removes whole nodes of the
# stream only, which costs little. Refused while the stream may have entries that are not archived
# below it: without the entry, it is not the stream that the caller saw.
TRIM: Final = Script(
    lua_parts.HEAD
    + lua_parts.IDS
    + lua_parts.HELD
    + lua_parts.UNLEARN
    + """\
if #call('XRANGE', stream, ARGV[1], ARGV[1]) == 0
    or call('HEXISTS', state, 'raised') == 1 then return 0 end
unlearn(ARGV[1])
local removed = call('XTRIM', stream, 'MINID', '~', ARGV[1])
if removed > 0 then call('HSET', state, 'trimmed', ARGV[1]) end
return removed
"""
)

# ARGV: the position of the archive, milliseconds. Sets the time to live of a stream that is
# archived to its end.
EXPIRE: Final = Script(
    lua_parts.HEAD
    + lua_parts.IDS
    + """\
if call('EXISTS', stream) == 0 or generated() ~= ARGV[1] then return 0 end
if call('HSETNX', state, 'expiring', 1) == 0 then return 0 end
call('PEXPIRE', state, ARGV[2])
return call('PEXPIRE', stream, ARGV[2])
"""
)

# ARGV: the position of the archive, what `raised` and the last id of the stream were when the
# caller looked, the ids of entries up to the position that are not in the archive. Appends these
# anew, above it, and removes what is below; not if others came below it meanwhile: then it only
# sees to it that no more do.
RESEQUENCE: Final = Script(
    lua_parts.HEAD
    + lua_parts.IDS
    + lua_parts.HELD
    + lua_parts.UNLEARN
    + """\
if call('EXISTS', stream) == 0 then return 0 end
if (call('HGET', state, 'raised') or '') ~= ARGV[2] then return -1 end
local last = generated()
if less(last, ARGV[1]) then call('XSETID', stream, ARGV[1]) end
if #call('XRANGE', stream, '(' .. ARGV[3], '(' .. ARGV[1], 'COUNT', 1) > 0
    or (less(last, ARGV[1]) and last ~= ARGV[3]) then
    call('HSET', state, 'raised', last)
    return -1
end
unlearn(ARGV[1])
local moved = 0
for i = 4, #ARGV do
    local entry = call('XRANGE', stream, ARGV[i], ARGV[i])[1]
    if entry then
        local fields, named = entry[2], {}
        for j = 1, #fields, 2 do named[fields[j]] = fields[j + 1] end
        if not named.producer then
            -- A stranger's: if Redis is set back to before this, it is known when it comes again.
            local digest = sub(redis.sha1hex(named.data or ''), 1, 8)
            fields[#fields + 1] = 'producer'
            fields[#fields + 1] = ARGV[i] .. '-' .. digest .. ':0:0'
        end
        call('XADD', stream, '*', unpack(fields))
        call('XDEL', stream, ARGV[i])
        moved = moved + 1
    end
end
-- The archive has these; of a stream that was set back, not all that follows them is here.
call('XTRIM', stream, 'MINID', ARGV[1])
call('HSET', state, 'trimmed', ARGV[1])
call('HDEL', state, 'raised')
return moved
"""
)

# Sets the time to live of the state of a stream that is gone.
BURY: Final = Script(
    lua_parts.HEAD
    + """\
if call('EXISTS', stream) == 1 or call('EXISTS', state) == 0 then return 0 end
if call('HSETNX', state, 'expiring', 1) == 0 then return 0 end
return call('PEXPIRE', state, 3600000)
"""
)

_SOURCES: Final = {
    script.sha: script.source
    for script in (
        APPEND,
        APPEND_IN_ORDER,
        RESOLVE,
        OUTBOX_STATE,
        OUTBOX_APPEND,
        TRIM,
        EXPIRE,
        RESEQUENCE,
        BURY,
    )
}


def with_source(command: Command) -> Command:
    """The call of a script with its source, for a Redis that does not have it."""
    return ("EVAL", _SOURCES[str(command[1])], *command[2:])
