"""What wrk is told in its own language, Lua: send whole requests in turn, and print what was counted.

Its arguments are the file of requests one after the other, the file that it makes when the last answer came, the
seconds after which it stops sending (0: it does not watch its answers), and each request's length.
"""

from typing import Final

SCRIPT: Final = """
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *);")
local moment = ffi.new("moment")
local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.s) + tonumber(moment.ns) * 1e-9
end
local requests, at, answered, last, lasting = {}, 0, 0, 0, 0
local threads = {}
sent, elapsed = -1, 0  -- wrk asks for a request once before it begins

function setup(thread) threads[#threads + 1] = thread end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for index = 4, #args do requests[#requests + 1] = file:read(tonumber(args[index])) end
  file:close()
  lasting = tonumber(args[3])
  if lasting == 0 then return end
  function response()
    answered = answered + 1
    if answered == sent and now() >= last then
      elapsed = now() - last + lasting
      io.open(args[2], "w"):close()
    end
  end
end

function request()
  if lasting > 0 then
    if sent == 0 then last = now() + lasting end
    if sent > 0 and now() >= last then return "" end
  end
  sent = sent + 1
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors, watched = summary.errors, threads[1]:get("elapsed") > 0
  local failed = errors.status + errors.timeout
  if not watched then failed = failed + errors.connect + errors.read + errors.write end
  print(string.format("@ %d %d %d %.6f", summary.duration, summary.requests, failed, threads[1]:get("elapsed")))
  for index = 1, #latency do print(string.format("= %d %d", latency(index))) end
end
"""
