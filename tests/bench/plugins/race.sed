# Leaves out the barrier of a reduction: the first indented by four.
0,/^    __syncthreads();$/{//d}
