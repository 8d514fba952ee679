set(INSIGHT_CUDA_ARCHITECTURES "")
if(INSIGHT_CUDA STREQUAL "OFF")
  return()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(INSIGHT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "INSIGHT_CUDA=ON, but no nvcc: put it on PATH or set CUDACXX, "
                        "or build with INSIGHT_CUDA=OFF for the CPU alone")
  endif()
  return()
endif()
list(APPEND INSIGHT_BACK_ENDS cuda)
if(CMAKE_CUDA_ARCHITECTURES OR NOT "$ENV{CUDAARCHS}" STREQUAL "")
  set(INSIGHT_ARCHITECTURES_GIVEN ON)
else()
  # Machine code runs on every later minor version too; the rest compiles the PTX of the newest that
  # is not too new when it is first used.
  set(CMAKE_CUDA_ARCHITECTURES 80 90)
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
# Older compilers do not know 10.0 and 12.0.
if(NOT INSIGHT_ARCHITECTURES_GIVEN AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  set(CMAKE_CUDA_ARCHITECTURES 80 90-real 100-real 120)
endif()
list(JOIN CMAKE_CUDA_ARCHITECTURES "," INSIGHT_CUDA_ARCHITECTURES)
set_target_properties(insight PROPERTIES
  CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}" CUDA_RUNTIME_LIBRARY Static CUDA_STANDARD 17
  CUDA_VISIBILITY_PRESET hidden)
target_sources(insight PRIVATE csrc/cuda/back_end.cu csrc/cuda/score.cu csrc/cuda/select.cu)
target_compile_options(insight PRIVATE
  "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;--prec-div=true;--prec-sqrt=true;--threads=2;-Xcompiler=-Wall,-ffp-contract=off>")
if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/benchmarks/gpu)  # not in a source archive
  foreach(driver cuda_check cuda_bench)
    add_executable(${driver} EXCLUDE_FROM_ALL benchmarks/gpu/${driver}.cu)
    target_compile_options(${driver} PRIVATE --fmad=false)
    target_link_libraries(${driver} PRIVATE insight)
    set_target_properties(${driver} PROPERTIES BUILD_RPATH_USE_ORIGIN ON)
  endforeach()
endif()
