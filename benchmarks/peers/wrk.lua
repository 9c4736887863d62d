-- What wrk sends: arguments after `--` are the operation, the path of the rows, what follows it in
-- a list, the file with the ids of the rows, and a mark that no other run has.
-- Prints one line of JSON at the end.

local operation, rows, query, mark
local ids, prepared, sent = {}, {}, 0

local function body_of(number)
  return string.format(
    '{"sku":"%s-%d","name":"Product %d","price":12.5,"quantity":%d,"active":true,"description":"Made by the benchmark"}',
    mark, number, number, number % 1000)
end

function init(args)
  operation, rows, query, mark = args[1], args[2], args[3], args[5]
  for id in io.lines(args[4]) do ids[#ids + 1] = id end
  wrk.headers["Content-Type"] = (operation == "create" or operation == "update") and "application/json" or nil
  if operation == "get" then
    for _, id in ipairs(ids) do prepared[#prepared + 1] = wrk.format("GET", rows .. "/" .. id) end
  elseif operation == "list" then
    prepared[1] = wrk.format("GET", rows .. query)
  end
  sent = math.floor(os.clock() * 1e6) % #ids
end

function request()
  sent = sent + 1
  if operation == "create" then
    return wrk.format("POST", rows, nil, body_of(sent))
  elseif operation == "update" then
    return wrk.format("PATCH", rows .. "/" .. ids[(sent * 7919) % #ids + 1], nil, '{"quantity":' .. sent .. '}')
  end
  return prepared[(sent * 7919) % #prepared + 1]
end

function done(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"max_ms":%.4f,"refused":%d,"broken":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
