module lethe.example/go-fetch

go 1.19
