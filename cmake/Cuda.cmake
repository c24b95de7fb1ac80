# CUDA's compiler and libraries, for all folders. Kernels are compiled for every architecture that this nvcc knows; the newest also as
# PTX, which later devices compile for themselves.
if(NOT CMAKE_CUDA_COMPILER)
  set(wheels_nvcc ${IMAGECALC_TORCH_ROOT}/../nvidia/cu13/bin)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin ${wheels_nvcc} REQUIRED)
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE architectures COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9]+" architectures "${architectures}")
  list(SORT architectures COMPARE NATURAL)
  list(POP_BACK architectures newest)
  list(TRANSFORM architectures APPEND "-real")
  set(CMAKE_CUDA_ARCHITECTURES ${architectures} ${newest} CACHE STRING "CUDA architectures")
endif()
enable_language(CUDA)
# With PyTorch's wheels their runtime library, which find_package does not know by its name: a process should have one.
set(wheels_runtime ${IMAGECALC_TORCH_ROOT}/../nvidia/cu13/lib/libcudart.so.13)
if(IMAGECALC_TORCH_ROOT AND EXISTS ${wheels_runtime})
  set(CUDA_CUDART ${wheels_runtime} CACHE FILEPATH "CUDA's runtime library" FORCE)
endif()
find_package(CUDAToolkit REQUIRED)
# CMake 3.25 does not know that nvcc has C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
