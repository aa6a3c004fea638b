# Prints the cpp blocks of a Markdown page, in order; with -v file=PATH only the block under the line `PATH`. Every other line
# becomes an empty one, so that a compiler's message about line n of the result is about line n of the page.
/^```/ { code = ($0 == "```cpp") && (file == "" || under == "`" file "`"); print ""; next }
{ print (code ? $0 : ""); under = $0 }
