# kernels/cuda: one set of sources, built up to three times.
# - simt: always, by the host's compiler, for the executor.
# - RTFQ_CUDA=ON: by nvcc, into the binary, for the GPUs of RTFQ_CUDA_ARCHITECTURES.
# - cuda_check: where nvcc is found, for sm_80 and sm_90a, into objects nobody links; a test reads what ptxas reported.
option(RTFQ_CUDA "build the CUDA backend (needs nvcc)" OFF)
# 90a, not 90: wgmma is among what Hopper has for itself. Others start from the PTX for 80.
set(RTFQ_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "GPUs that RTFQ_CUDA builds for")
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cu)

# Objects of their own, so that flags and the language apply to this build of the files alone.
add_library(rtfq_cuda_on_simt OBJECT ${cuda_sources})
set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX)
target_compile_options(rtfq_cuda_on_simt PRIVATE "SHELL:-x c++" $<$<CONFIG:Release>:-O3> -Wno-unknown-pragmas)
target_link_libraries(rtfq_cuda_on_simt PUBLIC rtfq_flags Boost::context)
target_sources(rtfq_kernels PRIVATE $<TARGET_OBJECTS:rtfq_cuda_on_simt>)

if(RTFQ_CUDA)
  find_package(CUDAToolkit REQUIRED)
  add_subdirectory(cuda)
  # Whole: operators refer to their lists weakly, which pulls nothing out of an archive.
  # It calls back (shapes, checks), so that the other archives are searched once more behind it.
  target_link_libraries(rtfq_kernels INTERFACE -Wl,--whole-archive,$<TARGET_FILE:rtfq_cuda>,--no-whole-archive
    $<TARGET_FILE:rtfq_kernels> $<TARGET_FILE:rtfq_simt> $<TARGET_FILE:Boost::context> CUDA::cudart_static)
  set_property(TARGET rtfq_kernels APPEND PROPERTY INTERFACE_LINK_DEPENDS $<TARGET_FILE:rtfq_cuda>)
  add_dependencies(rtfq_kernels rtfq_cuda)
else()
  target_sources(rtfq_kernels PRIVATE cuda/runtime_absent.cpp cuda/gpu_clock_absent.cpp cuda/vendor/nccl_absent.cpp)
endif()

find_program(RTFQ_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
set(RTFQ_CUDA_CHECK ${CMAKE_BINARY_DIR}/cuda_check CACHE INTERNAL "what nvcc said of kernels/cuda")
file(MAKE_DIRECTORY ${RTFQ_CUDA_CHECK})
if(RTFQ_NVCC)
  get_filename_component(nvcc_folder ${RTFQ_NVCC} DIRECTORY)
  find_program(RTFQ_CUOBJDUMP cuobjdump HINTS ${nvcc_folder} ${CMAKE_SOURCE_DIR}/.deps/cuda-tools/nvidia/cu13/bin)
  if(RTFQ_CUOBJDUMP)
    set(cuobjdump ${RTFQ_CUOBJDUMP})
  endif()
  foreach(source ${cuda_sources})
    get_filename_component(name ${source} NAME_WE)
    set(log ${RTFQ_CUDA_CHECK}/${name}.log)
    add_custom_command(OUTPUT ${log}
      COMMAND ${CMAKE_SOURCE_DIR}/tools/nvcc_check ${RTFQ_NVCC} ${source} ${log} ${cuobjdump}
      DEPENDS ${source} ${CMAKE_SOURCE_DIR}/tools/nvcc_check
      DEPFILE ${log}.d
      COMMENT "Checking ${name}.cu with nvcc for sm_80 and sm_90a" VERBATIM)
    list(APPEND cuda_logs ${log})
  endforeach()
  add_custom_target(cuda_check ALL DEPENDS ${cuda_logs})
endif()
