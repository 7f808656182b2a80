-- Removes archived entries. ARGV: the id of an entry up to which everything is archived; 1 to remove
-- all up to and with that entry, 0 to remove whole nodes of the stream before it, which is cheap.
-- Does nothing without that entry, because the stream is then not the one that the caller read, or
-- while entries below it may be not archived.
if #call('XRANGE', stream, ARGV[1], ARGV[1]) == 0
    or call('HEXISTS', state, 'rewound') == 1 then return 0 end
helpers().forget_lost(ARGV[1])
local removed
if ARGV[2] == '1' then
    -- XINFO then shows the id as deleted: the stream has had this event.
    removed = call('XTRIM', stream, 'MINID', ARGV[1]) + call('XDEL', stream, ARGV[1])
else
    removed = call('XTRIM', stream, 'MINID', '~', ARGV[1])
end
if removed > 0 then call('HSET', state, 'trimmed', ARGV[1]) end
return removed
