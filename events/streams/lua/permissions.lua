-- Returns the names of the commands that the user may not run. ARGV: commands as JSON.
local denied = {}
for _, command in ipairs(cjson.decode(ARGV[1])) do
    local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(command))
    if not (is_known and is_allowed) then denied[#denied + 1] = command[1] end
end
return denied
