module lethe.example/go-hello

go 1.19
