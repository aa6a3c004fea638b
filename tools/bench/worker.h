#pragma once
// The process in which kernels run. A crash, a loop without end or a ruined heap ends it alone; the lab
// starts another. It reads one request as a line of JSON from standard input and answers events, a line each,
// on its standard output; whatever plug-ins print goes to standard error.

namespace rtfq::lab {

/// Serves a request and answers the exit status of the process.
int serve_worker();

}  // namespace rtfq::lab
