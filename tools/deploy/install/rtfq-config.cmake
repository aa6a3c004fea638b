include(${CMAKE_CURRENT_LIST_DIR}/rtfq-targets.cmake)
