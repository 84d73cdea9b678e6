# What is installed: the header, both libraries, and the files by which others find them
# (find_package(roulette), pkg-config roulette). All paths are relative, so a tree can be moved.

install(TARGETS roulette roulette_static EXPORT roulette-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/roulette.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(ROULETTE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/roulette)
install(EXPORT roulette-targets NAMESPACE roulette:: DESTINATION ${ROULETTE_CMAKE_DIR})
configure_package_config_file(tools/cmake/roulette-config.cmake.in
  ${PROJECT_BINARY_DIR}/roulette-config.cmake INSTALL_DESTINATION ${ROULETTE_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/roulette-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/roulette-config.cmake
  ${PROJECT_BINARY_DIR}/roulette-config-version.cmake DESTINATION ${ROULETTE_CMAKE_DIR})

file(RELATIVE_PATH ROULETTE_PC_PREFIX /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(tools/cmake/roulette.pc.in ${PROJECT_BINARY_DIR}/roulette.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/roulette.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
