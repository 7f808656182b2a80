-- Sets the time to live of a stream that is archived to its end. ARGV: archive checkpoint, ms.
-- The state lives on for as long as publishers retry.
local h = helpers()
if call('EXISTS', stream) == 0 or h.last_generated_id() ~= ARGV[1]
    or call('HEXISTS', state, 'rewound') == 1 then return 0 end
if call('HSETNX', state, 'expiring', 1) == 0 then return 0 end
h.forget_lost(ARGV[1])
call('HSET', state, 'trimmed', ARGV[1])
call('PEXPIRE', state, math.max(tonumber(ARGV[2]), STATE_MS))
return call('PEXPIRE', stream, ARGV[2])
