-- Runs before a script that appends: publishes each event that it appends to the Pub/Sub channel of
-- the job. The last of ARGV is the channel. An append that is sent again publishes nothing again. If
-- the user of Redis may not PUBLISH, the append is made nevertheless.
local channel = table.remove(ARGV)
local job_id = match(channel, '^job:(.*):events$')
mirror = function(id, data, timestamp, event_type)
    redis.pcall('PUBLISH', channel, '{"event":' .. cjson.encode(event_type) .. ',"data":' .. data
        .. ',"timestamp":' .. cjson.encode(timestamp) .. ',"job_id":"' .. job_id
        .. '","event_id":"' .. id .. '"}')
end
