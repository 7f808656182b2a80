-- Appends entries that are below the archive checkpoint, and not archived, again above it.
-- ARGV: the checkpoint, `rewound` and the last id of the stream as the caller read them, the ids of
-- the entries. Returns -1, and only prevents more such entries, if others were added meanwhile.
local h = helpers()
if call('EXISTS', stream) == 0 then return 0 end
if (call('HGET', state, 'rewound') or '') ~= ARGV[2] then return -1 end
local last = h.last_generated_id()
if h.less(last, ARGV[1]) then call('XSETID', stream, ARGV[1]) end
if #call('XRANGE', stream, '(' .. ARGV[3], '(' .. ARGV[1], 'COUNT', 1) > 0
    or (h.less(last, ARGV[1]) and last ~= ARGV[3]) then
    call('HSET', state, 'rewound', last)
    return -1
end
h.forget_lost(ARGV[1])
local moved = 0
for i = 4, #ARGV do
    local entry = call('XRANGE', stream, ARGV[i], ARGV[i])[1]
    if entry then
        local fields, named = entry[2], {}
        for j = 1, #fields, 2 do named[fields[j]] = fields[j + 1] end
        if not named.producer then
            -- An external entry: the archive recognises it if Redis is restored to before this.
            local digest = sub(redis.sha1hex(named.data or ''), 1, 8)
            fields[#fields + 1] = 'producer'
            fields[#fields + 1] = ARGV[i] .. '-' .. digest .. ':0:0'
        end
        call('XADD', stream, '*', unpack(fields))
        call('XDEL', stream, ARGV[i])
        moved = moved + 1
    end
end
-- Everything below is archived; a restored stream may lack some of it.
call('XTRIM', stream, 'MINID', ARGV[1])
call('HSET', state, 'trimmed', ARGV[1])
call('HDEL', state, 'rewound')
return moved
