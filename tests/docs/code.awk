# Prints the cpp blocks of a Markdown page, in order. Every other line becomes an empty one, so that a compiler's message
# about line n of the result is about line n of the page.
/^```/ { code = ($0 == "```cpp"); print ""; next }
{ print (code ? $0 : "") }
