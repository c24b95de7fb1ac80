# LibTorch, as the target `torch`: the system's, or with IMAGECALC_TORCH_ROOT the torch package of a PyPI wheel, as
# scripts/pytorch.sh unpacks it. The wheel's own CMake files want CUDA, and take the system's libraries for what they do not find.
set(IMAGECALC_TORCH_ROOT "" CACHE PATH "The folder `torch` of an unpacked wheel, to build with instead of the system's LibTorch")

include(FindPackageHandleStandardArgs)
if(NOT IMAGECALC_TORCH_ROOT)
  find_package(Torch QUIET)
  find_package_handle_standard_args(LibTorch REQUIRED_VARS TORCH_LIBRARY VERSION_VAR Torch_VERSION)
  return()
endif()

find_path(LibTorch_INCLUDE_DIR torch/script.h PATHS ${IMAGECALC_TORCH_ROOT}/include NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_CPU torch_cpu PATHS ${IMAGECALC_TORCH_ROOT}/lib NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_CORE c10 PATHS ${IMAGECALC_TORCH_ROOT}/lib NO_DEFAULT_PATH NO_CACHE)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_CPU LibTorch_CORE LibTorch_INCLUDE_DIR)
if(LibTorch_FOUND AND NOT TARGET torch)
  add_library(torch INTERFACE IMPORTED)
  target_include_directories(torch INTERFACE ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  target_link_libraries(torch INTERFACE ${LibTorch_CPU} ${LibTorch_CORE})
endif()
