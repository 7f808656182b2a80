-- Sets the time to live of the state of a stream that is gone.
if call('EXISTS', stream) == 1 or call('EXISTS', state) == 0 then return 0 end
if call('HSETNX', state, 'expiring', 1) == 0 then return 0 end
return call('PEXPIRE', state, STATE_MS)
