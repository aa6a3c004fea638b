# Writes OUT with the commit of SOURCE and the project's VERSION; run at every build, and the file changes only when these do.
execute_process(COMMAND git -C ${SOURCE} describe --always --abbrev=10 --exclude=* --dirty=+ OUTPUT_VARIABLE commit
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR NOT commit)
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT "// Made by training/commit.cmake.
namespace rtfq {
extern const char* const build_commit;
extern const char* const build_version;
const char* const build_commit = \"@commit@\";
const char* const build_version = \"@VERSION@\";
}  // namespace rtfq
")
