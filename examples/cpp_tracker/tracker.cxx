// Sends the pose of a needle 50 times a second: tracker HOST PORT
#include <cstdlib>

#include <igtlClientSocket.h>
#include <igtlOSUtil.h>
#include <igtlTransformMessage.h>

int main(int, char** words) {
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer(words[1], atoi(words[2])) != 0) return 1;
  igtl::TransformMessage::Pointer pose = igtl::TransformMessage::New();
  igtl::TimeStamp::Pointer now = igtl::TimeStamp::New();
  igtl::Matrix4x4 matrix;  // mm; send nothing while the tool is not seen, never the last pose again
  igtl::IdentityMatrix(matrix);
  for (;; matrix[0][3] += 0.01f) {
    now->GetTime();
    pose->SetDeviceName("NeedleToTracker");
    pose->SetTimeStamp(now);
    pose->SetMatrix(matrix);
    pose->Pack();
    if (!socket->Send(pose->GetPackPointer(), pose->GetPackSize())) return 1;
    igtl::Sleep(20);
  }
}
