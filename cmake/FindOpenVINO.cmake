# OpenVINO's core, its readers of TorchScript and ONNX and its thread library, as scripts/openvino.sh unpacks them;
# OpenVINO_ROOT names another folder with include/ and lib/. The wheel's own CMake files want every library of the wheel to be there.
#
# Defines the target OpenVINO::OpenVINO and the folder OpenVINO_LIBRARY_DIR, which is to be copied as it is: the core looks
# for the engine beside itself.
file(GLOB OpenVINO_CORE LIST_DIRECTORIES false ${OpenVINO_ROOT}/lib/libopenvino.so.[0-9]*)
file(GLOB OpenVINO_TORCHSCRIPT LIST_DIRECTORIES false ${OpenVINO_ROOT}/lib/libopenvino_pytorch_frontend.so.[0-9]*)
file(GLOB OpenVINO_ONNX LIST_DIRECTORIES false ${OpenVINO_ROOT}/lib/libopenvino_onnx_frontend.so.[0-9]*)
file(GLOB OpenVINO_TBB LIST_DIRECTORIES false ${OpenVINO_ROOT}/lib/libtbb.so.[0-9]*)
find_path(OpenVINO_INCLUDE_DIR openvino/openvino.hpp PATHS ${OpenVINO_ROOT}/include NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenVINO
  REQUIRED_VARS OpenVINO_CORE OpenVINO_TORCHSCRIPT OpenVINO_ONNX OpenVINO_TBB OpenVINO_INCLUDE_DIR)

if(OpenVINO_FOUND AND NOT TARGET OpenVINO::OpenVINO)
  set(OpenVINO_LIBRARY_DIR ${OpenVINO_ROOT}/lib)
  add_library(OpenVINO::OpenVINO INTERFACE IMPORTED)
  set_target_properties(OpenVINO::OpenVINO PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${OpenVINO_INCLUDE_DIR})
  # LibTorch may bring an older TBB of the same name. The first in the order of loading serves both, and the program's own
  # libraries come before those of its libraries, so TBB is named here although nothing of ours calls it.
  target_link_libraries(OpenVINO::OpenVINO INTERFACE
    -Wl,--push-state,--no-as-needed ${OpenVINO_TBB} -Wl,--pop-state ${OpenVINO_TORCHSCRIPT}
    ${OpenVINO_ONNX} ${OpenVINO_CORE})
endif()
