module lethe.example/go-heap

go 1.19
