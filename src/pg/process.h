// imagecalc-runner as a child process of a backend or background worker.
//
// It is exec'd, so that the postmaster does not watch it: it may die by a signal and nobody else is harmed. Nothing of
// Postgres reaches it but the descriptors named here.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace imagecalc {

// Descriptors of the child: each is dup'ed to the number it is to have there. All others are closed. -1: /dev/null, and
// standard error is the server's own, so that what the runner says lands in the server's log.
struct ChildDescriptors {
  int in = -1;        // 0
  int out = -1;       // 1
  int lifeline = -1;  // 3: reads end of file when the parent is gone
};

// Where imagecalc-runner is installed.
std::string runner_path();

// Starts the installed imagecalc-runner. Error(unavailable) where it is not installed or the fork fails.
pid_t spawn_runner(const std::vector<std::string>& arguments, const ChildDescriptors& descriptors);

// True when the child has ended; status is then that of waitpid.
bool has_ended(pid_t child, int* status);

std::string describe_exit(int status);  // "was killed by signal 9", "exited with code 1"

// Ends a child for certain: asks, waits up to grace_ms, then kills. The runner is no child of the postmaster: killing it is safe.
void end_runner(pid_t child, int grace_ms);

}  // namespace imagecalc
