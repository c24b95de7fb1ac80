// When plans get ImageInfer nodes: as the planner has made them, or, in the first query of a session, as they are started.
#pragma once

namespace imagecalc {

// Once a process, as the library is loaded.
void install_infer_hooks();

}  // namespace imagecalc
