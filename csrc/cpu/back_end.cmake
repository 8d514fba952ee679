list(APPEND INSIGHT_BACK_ENDS cpu)
target_sources(insight PRIVATE
  csrc/cpu/back_end.cpp csrc/cpu/draw.cpp csrc/cpu/pool_index.cpp csrc/cpu/score.cpp
  csrc/cpu/select.cpp)

# The inner loops, once per instruction set (csrc/cpu/kernels.h says why this is safe).
function(add_kernels name)
  add_library(insight_${name} OBJECT csrc/cpu/kernels.cpp)
  target_compile_options(insight_${name} PRIVATE ${INSIGHT_OPTIONS} -fno-exceptions ${ARGN})
  target_compile_definitions(insight_${name} PRIVATE
    insight=insight_${name} INSIGHT_KERNELS=${name})
  target_sources(insight PRIVATE $<TARGET_OBJECTS:insight_${name}>)
endfunction()
add_kernels(portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_kernels(avx2 -mavx2)
  add_kernels(avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  add_kernels(neon -DINSIGHT_NEON)
endif()
