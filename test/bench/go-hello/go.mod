module lethe.example/bench-hello

go 1.19
