# cmake -DNM=nm -DOBJECTS=a.o,b.o -P check-kernel-symbols.cmake
#
# Fails when an object that was compiled for one instruction set defines a weak function. The linker
# keeps one copy of such a function (an inline function or template of a header, std:: too) for the
# whole library, so scalar code could end up calling the AVX-512 copy and crash on older processors.
# Kernels therefore use nothing but functions of internal linkage and intrinsics.
string(REPLACE "," ";" objects "${OBJECTS}")
foreach(object IN LISTS objects)
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ [Ww] [^\n]+" weak "${symbols}")
  if(weak)
    list(JOIN weak "\n  " weak)
    message(SEND_ERROR "${object} defines weak functions:\n  ${weak}")
  endif()
endforeach()
