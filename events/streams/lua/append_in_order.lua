-- Runs before append.lua for a producer that numbers its own events: an append has to follow the
-- one before, or be the last one again. The first append that Redis has may have any number.
do
    local h, field = helpers(), ARGV[1] .. ':' .. ARGV[2]
    local past = call('HGET', state, field)
    if not past and h.recover() then past = call('HGET', state, field) end
    if past then
        local last, count, first = match(past, '%S+$'), h.count(), tonumber(ARGV[3])
        local expected, number = match(past, '^%d+') + 1, match(last, '%d+$')
        -- Only a whole batch has its first event so many ids before its last one.
        local is_last = first + count == expected and tonumber(number) >= count - 1
            and h.has(field, ARGV[3], h.first_of(last, count))
        if first ~= expected and not is_last then
            return redis.error_reply('OUTOFORDER ' .. string.format('%d', expected))
        end
    end
end
