// Ping-pong with the C++ OpenIGTLink library, for `guidance bench link`.
//   igtl_pingpong echo PORT      sends every message back, CRC checked and computed
//   igtl_pingpong ping PORT      reads "KIND COUNT" lines, writes the COUNT round trips in ns on one line
//   igtl_pingpong source PORT    reads "KIND MILLISECONDS" lines, sends as fast as it may for so long, then a STRING
//   igtl_pingpong sink PORT      reads the same lines, counts until a STRING comes, writes "COUNT NS", first to last
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "igtlClientSocket.h"
#include "igtlImageMessage.h"
#include "igtlServerSocket.h"
#include "igtlStringMessage.h"
#include "igtlTransformMessage.h"

static bool receive(igtl::Socket* socket, igtl::MessageBase* message, igtl::MessageHeader* header) {
  message->SetMessageHeader(header);
  message->AllocatePack();
  int size = message->GetPackBodySize();
  if (socket->Receive(message->GetPackBodyPointer(), size) != size) return false;
  return (message->Unpack(1) & igtl::MessageHeader::UNPACK_BODY) != 0;
}

static bool receiveAny(igtl::Socket* socket, igtl::MessageBase::Pointer& message) {
  igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
  header->InitPack();
  if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize()) return false;
  header->Unpack();
  if (strcmp(header->GetDeviceType(), "IMAGE") == 0)
    message = igtl::ImageMessage::New().GetPointer();
  else if (strcmp(header->GetDeviceType(), "STRING") == 0)
    message = igtl::StringMessage::New().GetPointer();
  else
    message = igtl::TransformMessage::New().GetPointer();
  return receive(socket, message, header);
}

static void send(igtl::Socket* socket, igtl::MessageBase* message) {
  message->Pack();
  socket->Send(message->GetPackPointer(), message->GetPackSize());
}

static int echo(int port) {
  igtl::ServerSocket::Pointer server = igtl::ServerSocket::New();
  if (server->CreateServer(port) < 0) return 1;
  igtl::ClientSocket::Pointer socket = server->WaitForConnection(60000);
  igtl::MessageBase::Pointer message;
  while (socket.IsNotNull() && receiveAny(socket, message)) send(socket, message);
  return 0;
}

static igtl::MessageBase::Pointer sample(const char* kind) {
  igtl::MessageBase::Pointer made;
  if (strcmp(kind, "transform") == 0) {
    igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
    igtl::Matrix4x4 matrix;
    igtl::IdentityMatrix(matrix);
    transform->SetMatrix(matrix);
    made = transform.GetPointer();
  } else {
    bool volume = strcmp(kind, "volume") == 0;
    igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
    image->SetDimensions(volume ? 256 : 512, volume ? 256 : 512, volume ? 5 : 1);
    image->SetScalarType(volume ? igtl::ImageMessage::TYPE_FLOAT32 : igtl::ImageMessage::TYPE_UINT8);
    image->AllocateScalars();
    memset(image->GetScalarPointer(), 0, image->GetImageSize());
    made = image.GetPointer();
  }
  made->SetDeviceName("ProbeToTracker");
  return made;
}

static int ping(int port) {
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer("127.0.0.1", port) != 0) return 1;
  char kind[32];
  int count;
  while (scanf("%31s %d", kind, &count) == 2) {
    std::vector<long long> trips;
    for (int i = 0; i < count; i++) {
      igtl::MessageBase::Pointer message = sample(kind), answer;
      auto began = std::chrono::steady_clock::now();
      send(socket, message);
      if (!receiveAny(socket, answer)) return 2;
      auto took = std::chrono::steady_clock::now() - began;
      trips.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
    }
    for (long long trip : trips) printf("%lld ", trip);
    printf("\n");
    fflush(stdout);
  }
  return 0;
}

typedef std::chrono::steady_clock Clock;

static int source(int port) {
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer("127.0.0.1", port) != 0) return 1;
  char kind[32];
  int milliseconds;
  while (scanf("%31s %d", kind, &milliseconds) == 2) {
    igtl::MessageBase::Pointer message;
    auto until = Clock::now() + std::chrono::milliseconds(milliseconds);
    do {
      message = sample(kind);  // a new one each time: a packed one cannot be packed again
      send(socket, message);
    } while (Clock::now() < until);
    igtl::StringMessage::Pointer end = igtl::StringMessage::New();
    end->SetString("end");
    send(socket, end);
  }
  return 0;
}

static int sink(int port) {
  igtl::ServerSocket::Pointer server = igtl::ServerSocket::New();
  if (server->CreateServer(port) < 0) return 1;
  igtl::ClientSocket::Pointer socket = server->WaitForConnection(60000);
  char kind[32];
  int milliseconds;
  while (socket.IsNotNull() && scanf("%31s %d", kind, &milliseconds) == 2) {
    long long count = 0;
    Clock::time_point first, last;
    igtl::MessageBase::Pointer message;
    while (receiveAny(socket, message) && strcmp(message->GetDeviceType(), "STRING") != 0) {
      last = Clock::now();
      if (count++ == 0) first = last;
    }
    printf("%lld %lld\n", count, (long long)std::chrono::duration_cast<std::chrono::nanoseconds>(last - first).count());
    fflush(stdout);
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 3) return 3;
  if (strcmp(argv[1], "source") == 0) return source(atoi(argv[2]));
  if (strcmp(argv[1], "sink") == 0) return sink(atoi(argv[2]));
  return strcmp(argv[1], "echo") == 0 ? echo(atoi(argv[2])) : ping(atoi(argv[2]));
}
