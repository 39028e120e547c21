"""What any training step needs: devices, random numbers, averages, processes, CUDA graphs."""
