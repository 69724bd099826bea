module lethe.bench/go-serve

go 1.19
