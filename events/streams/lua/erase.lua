-- Removes a stream; its state becomes a tombstone. ARGV: the time to live of the tombstone in ms.
-- Deletes first: a Redis that is out of memory does not refuse a script that has deleted.
call('UNLINK', stream, state)
call('HSET', state, 'expiring', 'deleted')
return call('PEXPIRE', state, ARGV[1])
