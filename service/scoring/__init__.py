"""Sets of pictures, their statistics, and the threads that measure them."""
