# Instructions that not every processor has, for these files alone (kernels/cpu/lanes_avx512.h). g++ 12 takes the undefined
# operands in its own header of AVX-512 for uninitialized (GCC bug 105593).
file(GLOB avx512_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cpu/*_avx512.cpp)
set_source_files_properties(${avx512_sources} PROPERTIES COMPILE_OPTIONS
  "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-Wno-uninitialized;-Wno-maybe-uninitialized")
# The file of AMX spells its instructions; what it shares with VNNI's is compiled alike.
file(GLOB vnni_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cpu/*_vnni.cpp ${CMAKE_CURRENT_LIST_DIR}/cpu/*_amx.cpp)
set_source_files_properties(${vnni_sources} PROPERTIES COMPILE_OPTIONS
  "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni;-Wno-uninitialized;-Wno-maybe-uninitialized")

# The fused norms' many bodies take minutes to compile where each access is checked in place.
if(RTFQ_SANITIZE)
  set_property(SOURCE cpu/normquant_avx2.cpp cpu/normquant_avx512.cpp APPEND PROPERTY COMPILE_OPTIONS
    --param=asan-instrumentation-with-call-threshold=0)
endif()
